"""Layers built on `jaxmed.ops`: convolutions and normalisations of any rank."""
