"""Models: their cards, where they lie, and how their graphs are run (onnxruntime; never torch)."""
