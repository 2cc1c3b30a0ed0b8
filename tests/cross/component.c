/* A small component for carriers of other platforms: what an agent-runner looks like from outside, in one file of C that every
 * cross compiler makes a program of. Without arguments it says hello; see docs/component-protocol.md for --supervised. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <process.h>
#define getpid _getpid
#else
#include <unistd.h>
#endif
#ifdef __linux__
#include <sys/prctl.h>
#endif

/* Until the other side closes the stream. */
static void wait_for_the_end(void)
{
    while (getchar() != EOF) {
    }
}

int main(int argc, char **argv)
{
    int exit_code = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--self-check") == 0) {
            return 0;
        }
        if (strcmp(argv[i], "--supervised") == 0) {
            int byte;
            while ((byte = getchar()) != EOF && byte != '\n') {
            }
            fprintf(stderr, "the component says hello\n");
            printf("{\"event\":\"ready\",\"version\":\"1\",\"pid\":%d}\n", (int)getpid());
            fflush(stdout);
            wait_for_the_end();
            return 0;
        }
#ifdef __linux__
        /* Whether this system, or whatever plays its part, lets a process inherit orphans: the supervisor needs that. */
        if (strcmp(argv[i], "--adopts-orphans") == 0) {
            return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 ? 0 : 9;
        }
#endif
        if (strcmp(argv[i], "--wait") == 0) {
            printf("waiting\n");
            fflush(stdout);
            wait_for_the_end();
            return 0;
        }
        if (strncmp(argv[i], "--exit=", 7) == 0) {
            exit_code = atoi(argv[i] + 7);
        }
    }
    printf("hello\n");
    for (int i = 1; i < argc; i++) {
        printf("argument: %s\n", argv[i]);
    }
    return exit_code;
}
