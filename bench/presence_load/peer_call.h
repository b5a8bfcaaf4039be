#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <utility>

namespace penstock::bench {

enum class Operation { read, write, finish };

/// Takes what comes out of the completion queue for it. Thread: the load's.
class Reactor {
  public:
    virtual ~Reactor() = default;
    virtual void react(Operation operation, bool ok) = 0;
};

/// What the completion queue gives back: whose operation it was, and which.
struct Tag {
    Reactor* reactor = nullptr;
    Operation operation = Operation::read;
};

/// One session of a peer with presence: reads all the time, writes one message after another.
/// Thread: the load's.
template <typename Up, typename Down>
class PeerCall : public Reactor {
  public:
    using Stream = grpc::ClientAsyncReaderWriter<Up, Down>;

    PeerCall() = default;
    PeerCall(const PeerCall&) = delete;
    PeerCall& operator=(const PeerCall&) = delete;

    void write(Up message) {
        waiting_.push_back(std::move(message));
        write_next();
    }
    /// For a message that its owner keeps: not taken if another one is on its way.
    bool write_now(const Up& message) {
        if (is_writing_ || is_over_) {
            return false;
        }
        is_writing_ = true;
        ++operations_;
        stream_->Write(message, &write_);
        return true;
    }
    /// Breaks the session off, as a peer does that leaves.
    void cancel() { context_.TryCancel(); }
    [[nodiscard]] bool is_over() const noexcept { return is_over_; }

    void react(Operation operation, bool ok) final {
        --operations_;
        if (operation == Operation::write) {
            is_writing_ = false;
        }
        if (operation != Operation::finish) {
            if (!ok) {
                finish();
            } else if (operation == Operation::read) {
                on_message(down_);
                read_next();
            } else {
                write_next();
            }
        }
        if (operations_ == 0) {
            on_end(status_);
        }
    }

  protected:
    /// `prepare(context)` gives the stream. The first message goes with the call's opening.
    template <typename Prepare>
    void open(Prepare prepare, Up first) {
        context_.set_initial_metadata_corked(true);
        stream_ = prepare(&context_);
        stream_->StartCall(nullptr);
        write(std::move(first));
        read_next();
    }

    virtual void on_message(const Down& message) = 0;
    /// The last call of all; may delete this.
    virtual void on_end(const grpc::Status& status) = 0;

  private:
    void read_next() {
        if (!is_over_) {
            ++operations_;
            stream_->Read(&down_, &read_);
        }
    }

    void write_next() {
        if (!waiting_.empty() && write_now(waiting_.front())) {
            waiting_.pop_front();
        }
    }

    void finish() {
        if (!std::exchange(is_over_, true)) {
            ++operations_;
            stream_->Finish(&status_, &finish_);
        }
    }

    Tag read_{this, Operation::read};
    Tag write_{this, Operation::write};
    Tag finish_{this, Operation::finish};
    grpc::ClientContext context_;
    std::unique_ptr<Stream> stream_;
    std::deque<Up> waiting_;
    Down down_;
    grpc::Status status_;
    int operations_ = 0;
    bool is_writing_ = false;
    bool is_over_ = false;
};

}  // namespace penstock::bench
