"""Pages that belong to no single app; here the whole project may be imported."""
