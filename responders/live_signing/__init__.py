"""Answers signed at the moment they are asked for: by a process of its own, reached over a stream."""
