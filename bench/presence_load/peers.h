#pragma once

#include "base/clock.h"
#include "presence.pb.h"
#include "presence_load/network.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::bench {

/// What all peers are given.
struct Surroundings {
    Endpoint presence;
    std::optional<control::TlsContext> tls;  // none: plaintext
    Network network;
};

/// A connection of its own: peers share one only if they are given the same.
std::shared_ptr<Connection> connect(Surroundings& surroundings);

/// One session of a peer with presence.
template <typename Up, typename Down>
class PeerCall : public Call {
  public:
    PeerCall() = default;
    PeerCall(const PeerCall&) = delete;
    PeerCall& operator=(const PeerCall&) = delete;

    void write(const Up& message) {
        waiting_.push_back(message.SerializeAsString());
        wake();
    }
    /// Not taken if another one is on its way.
    bool write_now(const Up& message) {
        if (!waiting_.empty() || is_over_) {
            return false;
        }
        write(message);
        return true;
    }

    bool give(std::string& out) final {
        if (waiting_.empty()) {
            return false;
        }
        out += waiting_.front();
        waiting_.pop_front();
        return true;
    }
    void take(std::string_view message) final {
        if (down_.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
            on_message(down_);
        }
    }
    void closed() final {
        is_over_ = true;
        on_end();
    }

  protected:
    virtual void on_message(const Down& message) = 0;
    /// The last call of all; may delete this.
    virtual void on_end() = 0;

  private:
    std::deque<std::string> waiting_;
    Down down_;
    bool is_over_ = false;
};

/// The stream's name; streams are numbered from 0, those of data server n from n * streams each.
std::string stream_name(std::size_t number);

/// A data server that had streams open, each with its publisher, before presence was started. Does
/// what it is told, and reports its load when it is asked to.
class DataServerPeer final : public PeerCall<v1::DataServerUp, v1::DataServerDown> {
  public:
    /// `streams` of them, of which the first `active` are in every load report.
    DataServerPeer(Surroundings& surroundings,
                   std::size_t number,
                   std::size_t streams,
                   std::size_t active);

    /// It was told which streams it is to have, and has said that it has.
    [[nodiscard]] bool is_attached() const noexcept { return is_attached_; }
    /// Returns: whether it was sent; not if the connection has not taken the one before.
    bool report();
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] std::uint64_t reports() const noexcept { return load_.load().sequence(); }

  private:
    void on_message(const v1::DataServerDown& message) override;
    void on_end() override { is_attached_ = false; }
    void report_stream(std::size_t number, std::uint32_t port);

    const std::string name_;
    const std::string address_;
    std::uint32_t port_ = 20'000;                   // of the next stream
    std::map<std::uint64_t, std::uint32_t> ports_;  // by stream id
    v1::DataServerUp load_;
    bool is_attached_ = false;
};

/// A publisher that waits for its first consumer, on a connection of its own.
class PublisherPeer final : public PeerCall<v1::PublisherUp, v1::PublisherDown> {
  public:
    PublisherPeer(Surroundings& surroundings, const std::string& stream);

    [[nodiscard]] bool is_directed() const noexcept { return is_directed_; }
    void beat();

  private:
    void on_message(const v1::PublisherDown& message) override;
    void on_end() override { is_directed_ = false; }

    bool is_directed_ = false;
};

/// A consumer of a stream. Asks once and stays, or asks for a new ticket whenever it is told.
class ConsumerPeer final : public PeerCall<v1::ConsumerUp, v1::ConsumerDown> {
  public:
    /// Called with each answer that says where to join, and how long it took since it was asked
    /// for; with each that says anything else, a negative time.
    using Answered = std::function<void(ConsumerPeer& peer, std::chrono::nanoseconds took)>;

    ConsumerPeer(const std::shared_ptr<Connection>& connection,
                 const std::string& stream,
                 Answered answered);

    [[nodiscard]] bool is_ready() const noexcept { return version_ != 0; }
    /// Asks for a new ticket.
    void renew();
    void beat();
    /// Has the session ended; this is deleted when it is over. Owns: itself from now on.
    static void let_go(std::unique_ptr<ConsumerPeer> peer);

  private:
    void on_message(const v1::ConsumerDown& message) override;
    void on_end() override;

    const Answered answered_;
    std::uint64_t version_ = 0;  // of the newest assignment
    MonotonicTime asked_at_;
    bool has_ended_ = false;
    std::unique_ptr<ConsumerPeer> self_;  // once it was let go
};

}  // namespace penstock::bench
