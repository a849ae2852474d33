"""Proto-DDF, the application of the error handling architecture: it generates small apps and connects to a data source.

``python -m examples.proto_ddf`` builds it, serves it, and brings the data source that can be made to fail.
"""
