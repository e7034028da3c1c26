"""What the live node says: messages, pictures, diagnostics."""
