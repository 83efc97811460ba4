"""Streams: predict, then learn; weights of experts; changes of what is streamed."""
