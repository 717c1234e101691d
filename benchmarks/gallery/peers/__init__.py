"""What runs outside the project: a bare handler, and what fills the peers in their own environments."""
