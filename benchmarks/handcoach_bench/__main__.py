import sys

from handcoach_bench.cli import main

sys.exit(main())
