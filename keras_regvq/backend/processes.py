"""Which of the processes that train together this one is."""


def process_index_and_count():
    """(index, count): (0, 1) unless JAX or torch.distributed has been told of others."""
    import keras  # whoever only reads data may do so without

    if keras.backend.backend() == "torch":
        import torch.distributed as distributed

        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
    if keras.backend.backend() == "jax":
        import jax

        return jax.process_index(), jax.process_count()
    return 0, 1
