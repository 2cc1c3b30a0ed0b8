"""What the tests share: a fake server, fake providers, and processes under control."""
