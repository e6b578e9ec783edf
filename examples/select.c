/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * select.c: a task waits for the first of several things: channels, a future, time.
 */
#include <stdio.h>

#include <hop.h>

struct inputs {
    hop_channel *letters, *digits;
    hop_future bell;
};

static int send_range(hop_channel *channel, char from, char to)
{
    int rc = 0;

    for (char c = from; c <= to && rc == 0; c++)
        rc = hop_channel_send(channel, &c);
    hop_channel_close(channel);
    return rc;
}

static int send_letters(void *arg)
{
    return send_range(((struct inputs *)arg)->letters, 'a', 'z');
}

static int send_digits(void *arg)
{
    return send_range(((struct inputs *)arg)->digits, '0', '9');
}

/* Receives from both channels, whichever has something, until both are closed. */
static int collect(struct inputs *in)
{
    char letter, digit;
    hop_case cases[] = { hop_on_recv(in->letters, &letter), hop_on_recv(in->digits, &digit) };
    int counts[2] = { 0, 0 };

    for (int open = 2; open > 0;) {
        int first = hop_select(cases, 2);

        if (first < 0)
            return first;
        if (cases[first].result > 0) {
            counts[first]++;
        } else { /* closed and empty: from now on wait for something that never comes instead */
            cases[first] = hop_on_after(HOP_FOREVER);
            open--;
        }
    }
    printf("%d letters, %d digits\n", counts[0], counts[1]);
    return 0;
}

/* Waits for the bell, but not for long. */
static int listen_for_bell(struct inputs *in)
{
    hop_case cases[] = { hop_on_future(&in->bell), hop_on_after(10 * HOP_MS) };
    int first = hop_select(cases, 2);

    if (first == 0)
        printf("the bell rang: %d\n", cases[0].result);
    else if (first == 1)
        printf("no bell\n");
    return first < 0 ? first : 0;
}

static int main_task(void *arg)
{
    struct inputs in = { .bell = HOP_FUTURE_INIT };
    hop_scope scope;
    int rc;

    (void)arg;
    if (hop_channel_new(&in.letters, 1, 0) < 0 || hop_channel_new(&in.digits, 1, 4) < 0)
        return -ENOMEM;
    hop_scope_open(&scope);
    hop_spawn(&scope, send_letters, &in, NULL); /* capacity 0: a send returns when the letter was taken */
    hop_spawn(&scope, send_digits, &in, NULL);  /* capacity 4: up to four digits ahead */
    rc = collect(&in);
    if (rc == 0)
        rc = listen_for_bell(&in);
    hop_complete(&in.bell, 42);
    if (rc == 0)
        rc = listen_for_bell(&in);
    hop_scope_close(&scope);
    hop_channel_free(in.letters);
    hop_channel_free(in.digits);
    return rc;
}

int main(void)
{
    return hop_run(main_task, NULL, NULL) < 0;
}
