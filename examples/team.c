/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * team.c: your own OpenMP code inside a task. In hop_on_team the lines run on the first thread of the pool, and every
 * parallel region they open uses the whole pool: the same pinned threads, none besides. Build it with -fopenmp.
 */
#include <stdio.h>

#include <hop.h>

enum { WIDTH = 640, HEIGHT = 480 };

static unsigned char image[HEIGHT][WIDTH];

static void draw(void)
{
#pragma omp parallel for schedule(static)
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            image[y][x] = (unsigned char)(x ^ y);
}

static int main_task(void *arg)
{
    long sum = 0, bright = 0;
    int waited = 0;

    (void)arg;
    hop_on_team {
        draw();
#pragma omp parallel for reduction(+ : sum, bright)
        for (int y = 0; y < HEIGHT; y++) {
            for (int x = 0; x < WIDTH; x++) {
                sum += image[y][x];
                bright += image[y][x] >= 128;
            }
        }
        waited = hop_sleep(HOP_MS); /* the whole pool would wait with it, so it is refused */
    }
    printf("mean %ld, bright %ld of %d\n", sum / (WIDTH * HEIGHT), bright, WIDTH * HEIGHT);
    printf("waiting in hop_on_team %s\n", waited == -EWOULDBLOCK ? "is refused" : "was not refused");
    return 0;
}

int main(void)
{
    return hop_run(main_task, NULL, NULL) < 0;
}
