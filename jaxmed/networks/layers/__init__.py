"""Layers on `jaxmed.ops`: convolutions and normalisations of any rank."""
