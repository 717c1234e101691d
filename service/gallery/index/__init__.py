"""The index of a collection: what is searched, a cache of the record. The only package that imports faiss."""
