"""What has a name and can be fetched and verified: corpora."""
