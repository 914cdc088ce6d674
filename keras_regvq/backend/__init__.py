"""What depends on the backend that Keras runs on."""
