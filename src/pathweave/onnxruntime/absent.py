"""Public names of ONNX Runtime that are not here, with the reason; a test compares both with the installed package."""

from __future__ import annotations

_DEVICES = "there are no devices of plugin providers; `pathweave devices` lists what there is"
_LORA = "LoRA adapters are not supported; merge them into the model"
_PACKAGES = "packages of compiled models are files of ONNX Runtime's own; `pathweave tune` writes a `.pw` file"
_MEMORY = "memory is that of the CPU, and one pool serves all sessions"
_SPARSE = "sparse tensors are not supported as values; give a dense array"
_COMPILING = "models are not compiled ahead for providers; `pathweave import` writes one file to deploy"

ABSENT = {
    "AdapterFormat": _LORA, "LoraAdapter": _LORA,
    "ModelCompiler": _COMPILING, "OrtCompileApiFlags": _COMPILING, "OrtEpContextData": _COMPILING,
    "OrtEpContextDataBuffer": _COMPILING, "OrtExternalInitializerInfo": _COMPILING,
    "ModelPackage": _PACKAGES, "ModelPackageComponentContext": _PACKAGES, "ModelPackageContext": _PACKAGES,
    "ModelPackageOptions": _PACKAGES, "ModelPackageWriteMode": _PACKAGES,
    "OrtAllocatorType": _MEMORY, "OrtArenaCfg": _MEMORY, "OrtMemType": _MEMORY, "OrtMemoryInfo": _MEMORY,
    "OrtMemoryInfoDeviceType": _MEMORY, "OrtDeviceMemoryType": _MEMORY, "create_and_register_allocator": _MEMORY,
    "create_and_register_allocator_v2": _MEMORY,
    "OrtDeviceVendorId": _DEVICES, "OrtEpAssignedNode": _DEVICES, "OrtEpAssignedSubgraph": _DEVICES, "OrtEpDevice": _DEVICES,
    "OrtExecutionProviderDevicePolicy": _DEVICES, "OrtHardwareDevice": _DEVICES, "OrtHardwareDeviceType": _DEVICES,
    "OrtSyncStream": _DEVICES, "copy_tensors": _DEVICES, "register_execution_provider_library": _DEVICES,
    "unregister_execution_provider_library": _DEVICES, "cuda_version": _DEVICES,
    "OrtSparseFormat": _SPARSE, "SparseTensor": _SPARSE,
    "SessionIOBinding": "`InferenceSession.io_binding()` makes an `IOBinding`",
    "set_default_logger_callback": "nothing is logged",
    # Methods, by class.
    "SessionOptions.add_provider_for_devices": _DEVICES, "SessionOptions.set_provider_selection_policy": _DEVICES,
    "SessionOptions.set_provider_selection_policy_delegate": _DEVICES,
    "SessionOptions.set_ep_context_data_read_func": _COMPILING, "SessionOptions.clear_ep_context_data_read_func": _COMPILING,
    "SessionOptions.set_load_cancellation_flag": "loading cannot be cancelled from another thread",
    "InferenceSession.get_input_epdevices": _DEVICES, "InferenceSession.get_input_memory_infos": _DEVICES,
    "InferenceSession.get_output_memory_infos": _DEVICES, "InferenceSession.get_provider_graph_assignment_info": _DEVICES,
    "InferenceSession.set_ep_dynamic_options": _DEVICES,
    "InferenceSession.release_captured_graph": "there are no captured graphs of a GPU",
}
