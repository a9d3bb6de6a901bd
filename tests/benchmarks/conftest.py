"""Makes the package that benchmarks share importable, as tools/run_benchmark.py does for them."""
import sys

import run_benchmark

sys.path.append(str(run_benchmark.BENCHMARKS))
