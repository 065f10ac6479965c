"""The pair optimiser: registers any two images without a trained model (torch; imported only when asked for)."""

import os

# Torch's OpenMP threads spin while they wait. On a machine that does something else as well this made a registration ten times
# slower (measured); threads that sleep cost nothing measurable on an idle one. It must be set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
