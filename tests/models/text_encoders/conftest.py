from tests.models.text_encoders.tiny_bert import bert  # noqa: F401  a fixture of the tests here
