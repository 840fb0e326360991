"""Media: rendered scenes, real pictures, video files, frame samplers and the cached sets made of them."""
