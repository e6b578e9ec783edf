// SPDX-License-Identifier: BSD-3-Clause
//
// peer-asio: Boost.Asio on one thread: peer-asio echo_tcp loop PORT | peer-asio mixed pool2 PORT. mixed computes in a
// thread pool of two.
#include <boost/asio.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <string>

#include "bench.h"

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// --- echo_tcp ---

struct echo : std::enable_shared_from_this<echo> {
    tcp::socket socket;
    std::array<char, 4096> buffer;

    explicit echo(tcp::socket s) : socket(std::move(s)) {}

    void start()
    {
        auto self = shared_from_this();

        socket.async_read_some(asio::buffer(buffer), [self](error_code e, size_t n) {
            if (!e)
                self->write(n);
        });
    }

    void write(size_t n)
    {
        auto self = shared_from_this();

        asio::async_write(socket, asio::buffer(buffer, n), [self](error_code e, size_t) {
            if (!e)
                self->start();
        });
    }
};

// --- mixed ---

static asio::thread_pool *pool;

struct mixed : std::enable_shared_from_this<mixed> {
    tcp::socket socket;
    std::array<char, MESSAGE_BYTES> message;
    std::atomic<uint64_t> sum{0};
    std::atomic<unsigned> pending{0};

    explicit mixed(tcp::socket s) : socket(std::move(s)) {}

    void start()
    {
        auto self = shared_from_this();

        asio::async_read(socket, asio::buffer(message), [self](error_code e, size_t) {
            if (e)
                return;
            if (self->message[0] == 'H')
                self->compute();
            else
                self->write();
        });
    }

    void compute()
    {
        sum = 0;
        pending = HEAVY_CHUNKS;
        for (unsigned i = 0; i < HEAVY_CHUNKS; i++)
            asio::post(*pool, [self = shared_from_this(), i] {
                self->sum += heavy_chunk(i);
                if (--self->pending == 0)
                    asio::post(self->socket.get_executor(), [self] {
                        put_answer(self->message.data(), self->sum);
                        self->write();
                    });
            });
    }

    void write()
    {
        auto self = shared_from_this();

        asio::async_write(socket, asio::buffer(message), [self](error_code e, size_t) {
            if (!e)
                self->start();
        });
    }
};

// --- serving ---

template <class session> static void accept_next(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](error_code e, tcp::socket s) {
        if (!e) {
            s.set_option(tcp::no_delay(true));
            std::make_shared<session>(std::move(s))->start();
        }
        accept_next<session>(acceptor);
    });
}

int main(int argc, char **argv)
{
    std::string workload = argc > 2 ? argv[1] : "";
    auto port = static_cast<unsigned short>(argc > 3 ? atoi(argv[3]) : 9000);

    if (workload != "echo_tcp" && workload != "mixed") {
        fprintf(stderr, "usage: peer-asio echo_tcp loop [PORT]\n       peer-asio mixed pool2 [PORT]\n");
        return 2;
    }
    asio::thread_pool two(2);
    asio::io_context io(1);
    tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), port));

    pool = &two;
    if (workload == "mixed") {
        auto work = asio::make_work_guard(io);

        accept_next<mixed>(acceptor);
        io.run();
    } else {
        accept_next<echo>(acceptor);
        io.run();
    }
    return 0;
}
