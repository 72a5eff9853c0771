"""How-to pages about publishing from frameworks, done as they say: real servers, real workers, a real router."""
