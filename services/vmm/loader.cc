#include "services/vmm/loader.h"

#include <cstring>

#include "services/vmm/data_cache.h"
#include "services/vmm/device_tree.h"
#include "services/vmm/guest_layout.h"
#include "services/vmm/kernel_image.h"

namespace atoll {
namespace {

std::unexpected<ErrorText> NotInRam(const char* what, GuestPhys address) {
  return std::unexpected(ErrorText(what, ": ", Hex{address.value}, " lies outside the mapped RAM"));
}

// Hides the features that the config names.
std::optional<ErrorText> HideFeatures(const VmmConfig& config, VmControl& vm) {
  for (const auto& change : std::span(config.id_registers, config.id_registers_count)) {
    const Result<uint64_t> current = vm.GetIdRegister(change.crm, change.op2);
    Status status = current.has_value() ? Status::kOk : current.error();
    if (IsOk(status)) {
      status = vm.SetIdRegister(change.crm, change.op2,
                                (*current & ~change.mask) | (change.value & change.mask));
    }
    if (!IsOk(status)) {
      return ErrorText("vmm config: id_registers: CRm ", change.crm, ", op2 ", change.op2,
                       " cannot be set: ", StatusName(status),
                       "; a field may keep its value or be its 'not implemented'");
    }
  }
  return std::nullopt;
}

}  // namespace

std::expected<GuestEntry, ErrorText> LoadGuest(const VmmConfig& config,
                                               std::span<const std::byte> kernel,
                                               std::span<const std::byte> initrd,
                                               const GuestMemory& ram) {
  const auto image = ParseKernelImage(kernel);
  if (!image.has_value()) return std::unexpected(image.error());
  const auto layout = PlaceGuest(*image, initrd.size(), ram.base(), ram.size());
  if (!layout.has_value()) return std::unexpected(layout.error());

  const auto kernel_bytes = ram.Range(layout->kernel, kernel.size());
  if (!kernel_bytes.has_value()) return NotInRam("kernel", layout->kernel);
  std::memcpy(kernel_bytes->data(), kernel.data(), kernel.size());
  CleanToCoherency(*kernel_bytes);

  if (!initrd.empty()) {
    const auto initrd_bytes = ram.Range(layout->initrd, initrd.size());
    if (!initrd_bytes.has_value()) return NotInRam("initrd", layout->initrd);
    std::memcpy(initrd_bytes->data(), initrd.data(), initrd.size());
    CleanToCoherency(*initrd_bytes);
  }

  const auto tree_bytes = ram.Range(layout->device_tree, kDeviceTreeBytes);
  if (!tree_bytes.has_value()) return NotInRam("device tree", layout->device_tree);
  if (auto error = BuildDeviceTree(config, layout->initrd, *tree_bytes)) {
    return std::unexpected(*error);
  }
  CleanToCoherency(*tree_bytes);
  return GuestEntry{.entry = layout->kernel, .device_tree = layout->device_tree};
}

std::optional<ErrorText> StartGuest(const VmmConfig& config, std::span<const std::byte> kernel,
                                    std::span<const std::byte> initrd, const GuestMemory& ram,
                                    VmControl& vm, PowerStates& powers) {
  const Result<VmState> state = vm.GetVmState();
  if (!state.has_value()) {
    return ErrorText("vm: its state cannot be read: ", StatusName(state.error()));
  }
  if (*state == VmState::kRunning) return powers.Compare();
  if (*state != VmState::kCreated) return std::nullopt;
  if (auto error = HideFeatures(config, vm)) return error;
  const auto guest = LoadGuest(config, kernel, initrd, ram);
  if (!guest.has_value()) return guest.error();
  const Status status = powers.TurnOn(0, guest->entry, guest->device_tree.value);
  if (!IsOk(status)) {
    return ErrorText("vm: vCPU 0 does not start at ", Hex{guest->entry.value}, ": ",
                     StatusName(status));
  }
  return std::nullopt;
}

}  // namespace atoll
