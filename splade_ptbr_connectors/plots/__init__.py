"""Pictures and pages of figures, for whoever measures; needs the extra [plots]."""
