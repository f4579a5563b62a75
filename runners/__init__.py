"""Everything that executes: the only place for torch, transformers, lm_eval and NVML."""
