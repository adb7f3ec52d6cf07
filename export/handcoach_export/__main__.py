import sys

from handcoach_export.cli import main

sys.exit(main())
