"""Commands of ``maskhub``: they read options, call the package and print results."""
