"""The commands of `handcoach-train`, one file each: `add` registers what the file holds."""
