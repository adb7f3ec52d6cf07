"""Opens the real window on a source and prints what happens, one JSON line each: `test_ui.py` reads it.

Run: python window_child.py SOURCE TINY_FOLDER
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from handcoach.texts import Texts
from handcoach.ui import keys, presenter, window
from handcoach.ui.app import run
from handcoach.worker import loader, worker_for


def tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


class TellingWindow(window.Window):
    """Says where its buttons are, and each new state as it is shown. F12 does what closing does."""

    def _bind(self) -> None:
        super()._bind()
        root = self.root
        root.bind("<F12>", lambda e: root.tk.eval(root.protocol("WM_DELETE_WINDOW")))

    def show(self, view: presenter.ViewState) -> None:
        super().show(view)
        self.root.update_idletasks()
        now = {"state": view.state, "message": view.message, "palette": self.palette,
               "yaw": round(self.camera.yaw, 3), "title": view.title,
               "choosing": self.chooser is not None and self.chooser.opened,
               "checks": [check.good for check in view.checks]}  # fmt: skip
        if now != getattr(self, "told", None):
            self.told = now
            centres = {
                name: (b.winfo_rootx() + b.winfo_width() // 2, b.winfo_rooty() + b.winfo_height() // 2)
                for name, b in self.buttons.items()
            }
            stage = (self.stage.winfo_rootx(), self.stage.winfo_rooty(), self.stage.winfo_width(),
                     self.stage.winfo_height())  # fmt: skip
            tell(**now, buttons=centres, stage=stage, window=self.root.winfo_id())


def main() -> int:
    source, tiny = sys.argv[1:3]
    keys.MEANT_S = 0.02  # a test that presses twice means it
    window.Window = TellingWindow  # type: ignore[misc]
    models = {"landmarks": f"{tiny}/landmarks.onnx", "finder": f"{tiny}/finder.onnx"}
    exercise = f"{tiny}/exercise.onnx"
    worker = worker_for(source, exercise, loop=True, models=models)

    def choose(name: str, thumb: bool) -> None:
        tell(chosen=Path(name).stem, thumb=thumb)
        worker.reload(loader(name, thumb=thumb, again=lambda: worker.pipeline))

    code = run(worker, Texts("en"), scale=1.0, exercise=exercise, on_choose=choose)
    names = [t.name for t in threading.enumerate() if t.name.startswith(("handcoach", "camera"))]
    tell(closed=True, threads=names)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
