#include "spi/ukernel.h"

#include <algorithm>

namespace pw {

namespace {
thread_local UKernelRecorder* recorder = nullptr;
}  // namespace

UKernelRecorder::UKernelRecorder() { recorder = this; }
UKernelRecorder::~UKernelRecorder() { recorder = nullptr; }

void UKernelRecorder::note(const std::string& name) {
  if (recorder && std::find(recorder->names.begin(), recorder->names.end(), name) == recorder->names.end())
    recorder->names.push_back(name);
}

}  // namespace pw
