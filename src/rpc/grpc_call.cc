#include "rpc/grpc_connection.h"

#include <fmt/format.h>

#include <absl/strings/escaping.h>
#include <algorithm>
#include <array>
#include <utility>

namespace penstock::control {
namespace {

using namespace std::string_view_literals;

nghttp2_nv header(std::string_view name, std::string_view value) {
    const auto bytes = [](std::string_view text) {
        // NOLINTNEXTLINE(*-const-cast): nghttp2 does not write to it
        return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
    };
    return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

/// Source: gRPC over HTTP2, "Status-Message": percent-encoded but for printable ASCII.
std::string encoded(const std::string& message) {
    std::string text;
    for (const char byte : message) {
        if (byte >= ' ' && byte <= '~' && byte != '%') {
            text += byte;
        } else {
            text += fmt::format("%{:02X}", static_cast<unsigned char>(byte));
        }
    }
    return text;
}

}  // namespace

GrpcServer::Call::Call(Connection& connection, std::int32_t stream)
    : connection_(connection), stream_(stream), reader_(connection.server_.message_bytes_max_) {}

bool GrpcServer::Call::add_header(std::string_view name, std::string_view value) {
    constexpr std::size_t kOverhead = 32;  // RFC 9113, 6.5.2
    header_bytes_ += name.size() + value.size() + kOverhead;
    if (name == ":path") {
        method_ = value;
    } else if (name == ":method") {
        is_post_ = value == "POST";
    } else if (name == "content-type") {
        is_grpc_ = value.starts_with("application/grpc");
    }
    return header_bytes_ <= kHeaderBytesMax;
}

void GrpcServer::Call::open() {
    if (!is_post_ || !is_grpc_) {
        fail(grpc::StatusCode::INTERNAL, "this is no call of gRPC");
        return;
    }
    handler_ = connection_.server_.open_call_(method_, *this);
    if (handler_ == nullptr && status_ == nullptr) {
        fail(grpc::StatusCode::UNIMPLEMENTED, "there is no method " + method_);
    }
    std::string().swap(method_);
}

void GrpcServer::Call::receive(std::string_view bytes) {
    if (is_failed_ || handler_ == nullptr) {
        reopen_window(bytes.size());  // it is over: nothing is kept
        return;
    }
    const std::size_t had = reader_.rest_bytes();
    reader_.add(bytes);
    take_messages();
    reader_.keep_rest();
    reopen_window(had + bytes.size() - reader_.rest_bytes());
}

/// What is kept is not given back, so that no caller can have us keep more than its window.
void GrpcServer::Call::reopen_window(std::size_t bytes) {
    nghttp2_session_consume(connection_.session_.get(), stream_, bytes);
    connection_.want_send();
}

void GrpcServer::Call::end_of_messages() {
    has_ended_ = true;
    take_messages();
}

void GrpcServer::Call::go_on() {
    paused_until_ = MonotonicTime::min();
    const std::size_t had = reader_.rest_bytes();
    take_messages();
    reader_.keep_rest();
    reopen_window(had - reader_.rest_bytes());
}

void GrpcServer::Call::take_messages() {
    std::string_view message;
    while (!is_failed_ && handler_ != nullptr && paused_until_ == MonotonicTime::min()) {
        switch (reader_.next(message)) {
            case MessageReader::Found::message:
                handler_->take(message);
                break;
            case MessageReader::Found::too_long:
                fail(grpc::StatusCode::RESOURCE_EXHAUSTED,
                     fmt::format("a message has at most {} bytes",
                                 connection_.server_.message_bytes_max_));
                break;
            case MessageReader::Found::compressed:
                fail(grpc::StatusCode::UNIMPLEMENTED, "compressed messages are not taken");
                break;
            case MessageReader::Found::nothing:
                if (has_ended_ && !std::exchange(is_end_told_, true)) {
                    handler_->end_of_messages();
                }
                return;
        }
    }
}

void GrpcServer::Call::wake() {
    if (!std::exchange(has_begun_, true)) {
        const std::array<nghttp2_nv, 2> headers{header(":status"sv, "200"sv),
                                                header("content-type"sv, "application/grpc"sv)};
        const nghttp2_data_provider provider{{.ptr = this}, on_fill};
        nghttp2_submit_response(
            connection_.session_.get(), stream_, headers.data(), headers.size(), &provider);
    } else if (std::exchange(is_waiting_, false)) {
        nghttp2_session_resume_data(connection_.session_.get(), stream_);
    }
    connection_.want_send();
}

void GrpcServer::Call::finish(const grpc::Status& status) {
    if (status_ == nullptr) {
        status_ = std::make_unique<grpc::Status>(status);
        wake();
    }
}

void GrpcServer::Call::fail(grpc::StatusCode code, const std::string& message) {
    is_failed_ = true;
    status_ = std::make_unique<grpc::Status>(code, message);
    wake();
}

void GrpcServer::Call::cancel() {
    is_failed_ = true;
    nghttp2_submit_rst_stream(
        connection_.session_.get(), NGHTTP2_FLAG_NONE, stream_, NGHTTP2_CANCEL);
    connection_.want_send();
}

void GrpcServer::Call::pause(std::chrono::nanoseconds duration) {
    if (paused_until_ == MonotonicTime::min()) {
        connection_.server_.paused_.push_back(this);
    }
    paused_until_ = std::max(paused_until_, monotonic_now() + duration);
}

std::vector<std::string> GrpcServer::Call::peer_uris() const {
    return connection_.tls_ ? connection_.tls_->peer_uris() : std::vector<std::string>();
}

void GrpcServer::Call::close() {
    is_failed_ = true;
    if (paused_until_ != MonotonicTime::min()) {
        std::erase(connection_.server_.paused_, this);
    }
    // The call's window is gone; the connection's is not.
    nghttp2_session_consume_connection(connection_.session_.get(), reader_.rest_bytes());
    if (const std::unique_ptr<CallHandler> handler = std::exchange(handler_, nullptr)) {
        handler->closed();
    }
}

/// Source: nghttp2_data_source_read_callback.
ssize_t GrpcServer::Call::on_fill(nghttp2_session* /*session*/,
                                  std::int32_t /*stream*/,
                                  std::uint8_t* bytes,
                                  std::size_t most,
                                  std::uint32_t* flags,
                                  nghttp2_data_source* source,
                                  void* /*connection*/) {
    auto& call = *static_cast<Call*>(source->ptr);
    if (call.given_ < call.sending_.size() && !call.connection_.server_.may_send_()) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // the stream is reset
    }
    const std::size_t filled = call.fill(bytes, most);
    if (filled > 0) {
        return static_cast<ssize_t>(filled);
    }
    if (call.status_ != nullptr) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        call.submit_trailers();
        return 0;
    }
    call.is_waiting_ = true;
    return NGHTTP2_ERR_DEFERRED;
}

std::size_t GrpcServer::Call::fill(std::uint8_t* bytes, std::size_t most) {
    std::size_t filled = 0;
    while (filled < most) {
        if (given_ == sending_.size()) {
            sending_.clear();
            given_ = 0;
            const std::size_t begin = begin_message(sending_);
            if (is_failed_ || handler_ == nullptr || !handler_->give(sending_)) {
                sending_.clear();
                break;
            }
            end_message(sending_, begin);
        }
        const std::size_t count = std::min(most - filled, sending_.size() - given_);
        std::copy_n(sending_.data() + given_, count, bytes + filled);
        given_ += count;
        filled += count;
    }
    return filled;
}

void GrpcServer::Call::submit_trailers() {
    const std::string code = std::to_string(static_cast<int>(status_->error_code()));
    const std::string message = encoded(status_->error_message());
    // Unpadded, as gRPC writes what is binary.
    std::string details = absl::Base64Escape(status_->error_details());
    details.erase(std::min(details.find('='), details.size()));
    std::array<nghttp2_nv, 3> trailers{};
    std::size_t count = 0;
    trailers[count++] = header("grpc-status"sv, code);
    if (!message.empty()) {
        trailers[count++] = header("grpc-message"sv, message);
    }
    if (!details.empty()) {
        trailers[count++] = header("grpc-status-details-bin"sv, details);
    }
    nghttp2_submit_trailer(connection_.session_.get(), stream_, trailers.data(), count);
}

}  // namespace penstock::control
