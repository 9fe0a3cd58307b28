"""What `sync` reads, compares and keeps."""
