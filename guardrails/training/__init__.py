"""From labelled rows to the heads' weights. Needs the extra `train`; nothing here is imported when texts are judged."""
