"""Many patients: which cases a folder or list holds, and how they are run, kept and told."""
