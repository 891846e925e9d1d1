"""What has a name and can be downloaded and verified: corpora."""
