"""What the lessons show and ask: pictures (draw), explorers (widgets), graders (exercises)."""
