"""Arrays with a place in the patient: world is LPS+ millimetres, array axis n belongs to affine column n."""
