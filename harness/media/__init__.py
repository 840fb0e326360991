"""Media: rendered scenes, real pictures, video files, frame samplers and the cached data sets made of them."""
