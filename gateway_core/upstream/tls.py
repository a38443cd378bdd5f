"""Which certificates a provider's connection is held to."""

import ssl


def client_context() -> ssl.SSLContext:
    """TLS 1.2 or newer, the system's certificate authorities (SSL_CERT_FILE and SSL_CERT_DIR name others), and the
    certificate must be the host's."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
