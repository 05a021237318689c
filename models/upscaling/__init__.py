"""Making finished pictures larger: a resampler, and models that do it better."""
