#include "data_server/quiet_linux.h"

#include "base/unique_fd.h"
#include "data_server/netlink.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <linux/bpf.h>
#include <net/if.h>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace penstock {
namespace {

constexpr std::int32_t kDropPacket = 2;  // TC_ACT_SHOT, linux/pkt_cls.h
constexpr std::uint32_t kHandle = 1;
constexpr std::uint32_t kPriority = 1;
constexpr const char* kProgramName = "penstock_quiet";  // at most 15 characters

bpf_tc_hook hook_of(unsigned if_index, bpf_tc_attach_point point) {
    bpf_tc_hook hook{};
    hook.sz = sizeof(hook);
    hook.ifindex = static_cast<int>(if_index);
    hook.attach_point = point;
    return hook;
}

bpf_tc_opts classifier() {
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.handle = kHandle;
    options.priority = kPriority;
    return options;
}

/// r0 = TC_ACT_SHOT; exit
UniqueFd load_program() {
    std::array<bpf_insn, 2> program{};
    program[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
    program[0].imm = kDropPacket;
    program[1].code = BPF_JMP | BPF_EXIT;
    bpf_prog_load_opts options{};
    options.sz = sizeof(options);
    return UniqueFd(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS,
                                  kProgramName,
                                  "Apache-2.0",
                                  program.data(),
                                  program.size(),
                                  &options));
}

/// Whether the classifier in our place was left by an earlier process of ours.
bool was_left_by_us(const bpf_tc_hook& hook) {
    bpf_tc_opts query = classifier();
    if (bpf_tc_query(&hook, &query) != 0) {
        return false;
    }
    const UniqueFd program(bpf_prog_get_fd_by_id(query.prog_id));
    bpf_prog_info info{};
    std::uint32_t bytes = sizeof(info);
    return program && bpf_obj_get_info_by_fd(program.get(), &info, &bytes) == 0 &&
           std::string_view(info.name) == kProgramName;
}

Error quiet_error(const std::string& interface, std::string_view step, int code) {
    const int error = -code;
    return {ErrorCode::system,
            fmt::format("cannot keep Linux quiet on {}: {}: {}{}",
                        interface,
                        step,
                        std::generic_category().message(error),
                        error == EPERM ? "; run as root or with CAP_BPF and CAP_NET_ADMIN" : "")};
}

Result<void> check_unused(unsigned if_index, const std::string& interface) {
    auto socket = open_netlink();
    if (!socket) {
        return std::move(socket).error();
    }
    const auto addresses = addresses_of(**socket, if_index);
    if (!addresses) {
        return addresses.error();
    }
    if (!addresses->empty()) {
        return Error{
            ErrorCode::denied,
            fmt::format("interface {} has the address {} in Linux, which would be cut off: "
                        "use another interface or run 'ip address flush dev {}'",
                        interface,
                        to_string(addresses->front()),
                        interface)};
    }
    return {};
}

}  // namespace

Result<QuietLinux> QuietLinux::install(unsigned if_index) {
    std::array<char, IF_NAMESIZE> name{};
    ::if_indextoname(if_index, name.data());
    const std::string interface = name.data();
    if (auto unused = check_unused(if_index, interface); !unused) {
        return std::move(unused).error();
    }
    // It would print the kernel's words for what is expected here, such as a hook that exists.
    libbpf_set_print(nullptr);
    const UniqueFd program = load_program();
    if (!program) {
        return quiet_error(interface, "loading a classifier", -errno);
    }
    bpf_tc_hook hook = hook_of(if_index, BPF_TC_INGRESS);
    const int created = bpf_tc_hook_create(&hook);
    if (created != 0 && created != -EEXIST) {
        return quiet_error(interface, "adding clsact", created);
    }
    const bool owns_hook = created == 0 || was_left_by_us(hook);
    bpf_tc_opts attach = classifier();
    attach.prog_fd = program.get();
    attach.flags = BPF_TC_F_REPLACE;
    if (const int code = bpf_tc_attach(&hook, &attach); code != 0) {
        return quiet_error(interface, "attaching the classifier", code);
    }
    return QuietLinux(if_index, owns_hook);
}

QuietLinux::QuietLinux(QuietLinux&& other) noexcept
    : if_index_(std::exchange(other.if_index_, 0)), owns_hook_(other.owns_hook_) {}

QuietLinux::~QuietLinux() {
    if (if_index_ == 0) {
        return;
    }
    // Failures mean that the interface, and the classifier with it, is gone.
    bpf_tc_hook hook = hook_of(if_index_, BPF_TC_INGRESS);
    const bpf_tc_opts detach = classifier();
    bpf_tc_detach(&hook, &detach);
    if (owns_hook_) {
        hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
        bpf_tc_hook_destroy(&hook);
    }
}

}  // namespace penstock
