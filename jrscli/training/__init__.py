"""Learning: a data list becomes batches, a recipe's stages become weights, weights become graphs with a card."""
