"""Wire protocols: sans-I/O codecs, one file each."""
