"""The pair optimiser: registers any two images without a trained model (torch; imported only when asked for)."""
