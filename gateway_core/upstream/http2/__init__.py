"""HTTP/2 for the httpx2 client. Needs the package h2, and is imported only where it is configured."""
