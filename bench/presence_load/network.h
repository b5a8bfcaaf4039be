#pragma once

#include "base/clock.h"
#include "base/net_address.h"
#include "base/unique_fd.h"
#include "rpc/message_reader.h"
#include "rpc/tls_stream.h"

#include <cstdint>
#include <memory>
#include <nghttp2/nghttp2.h>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

/// Calls by the thousand at little cost: gRPC's own client takes longer for a call than presence
/// does. One thread.
namespace penstock::bench {

class Connection;

/// One call, as its caller sees it.
class Call {
  public:
    virtual ~Call() = default;

    /// Appends the next message to `out`. Returns: false if there is none.
    virtual bool give(std::string& out) = 0;
    virtual void take(std::string_view message) = 0;
    /// The call is over. The last of all; may delete this.
    virtual void closed() = 0;

  protected:
    /// "/package.Service/Method".
    void open(const std::shared_ptr<Connection>& connection, const std::string& method);
    /// There is something to give.
    void wake();
    /// Nothing more will be given; presence ends the call then.
    void end();

  private:
    friend class Connection;
    std::shared_ptr<Connection> connection_;
    std::int32_t stream_ = -1;
    control::MessageReader reader_{std::size_t{64} << 20U};
    std::string sending_;
    std::size_t given_ = 0;
    bool is_waiting_ = false;
    bool is_ending_ = false;
};

/// All connections of the load.
class Network {
  public:
    /// Does what there is to do; waits for it until `until`.
    void poll(MonotonicTime until);
    /// Has every connection send what it has to.
    void send_all();

  private:
    friend class Connection;
    const UniqueFd epoll_{make_epoll()};
    std::vector<Connection*> unsent_;
    std::string received_ = std::string(64U << 10U, '\0');
    std::string plain_, to_network_;

    static UniqueFd make_epoll();
};

/// A connection of HTTP/2. One that breaks off closes all its calls.
class Connection {
  public:
    /// `tls`: none: plaintext. Both must outlive this.
    Connection(Network& network, const Endpoint& presence, const control::TlsContext* tls);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

  private:
    friend class Call;
    friend class Network;
    struct SessionFree {
        void operator()(nghttp2_session* session) const noexcept { nghttp2_session_del(session); }
    };

    void open(Call& call, const std::string& method);
    void want_send();
    void receive();
    void send();
    void transmit(std::string_view bytes);
    void break_off();
    static ssize_t on_fill(nghttp2_session*,
                           std::int32_t,
                           std::uint8_t* bytes,
                           std::size_t most,
                           std::uint32_t* flags,
                           nghttp2_data_source* source,
                           void*);
    static int on_data(nghttp2_session*,
                       std::uint8_t,
                       std::int32_t stream,
                       const std::uint8_t* bytes,
                       std::size_t length,
                       void* self);
    static int on_close(nghttp2_session*, std::int32_t stream, std::uint32_t, void* self);

    Network& network_;
    UniqueFd socket_;
    std::optional<control::TlsStream> tls_;
    std::unique_ptr<nghttp2_session, SessionFree> session_;
    std::unordered_map<std::int32_t, Call*> calls_;
    std::string unsent_;
    bool is_connected_ = false;
    bool is_listed_ = false;
};

}  // namespace penstock::bench
