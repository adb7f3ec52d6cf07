"""Programs that only child processes run: `PYTHON -m handcoach_bench.children.NAME TASK.json RESULT.json`.

Only here the training stack is imported, so that the benchmark itself needs none and no case inherits
another's libraries, threads or memory.
"""
