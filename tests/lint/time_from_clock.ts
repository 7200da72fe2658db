/**
 * A lint rule: time in src/ comes from the `Clock` that is handed in, so that tests can hold it still.
 *
 * Refuses `Date.now()`, `new Date()` without arguments and `performance.now()` everywhere in src/ but in the clock
 * itself and in the simulated home of the demo, which plays a foreign device.
 */
const EXEMPT = /\/src\/(clock\.ts|demo\/)/;

const MESSAGE = "time comes from the Clock that is handed in (src/clock.ts), so that tests can hold it still";

const plugin: Deno.lint.Plugin = {
  name: "sluice",
  rules: {
    "time-from-clock": {
      create(context) {
        if (!context.filename.includes("/src/") || EXEMPT.test(context.filename)) return {};
        const report = (node: Deno.lint.Node) => context.report({ node, message: MESSAGE });
        return {
          'CallExpression[callee.object.name="Date"][callee.property.name="now"]': report,
          'CallExpression[callee.object.name="performance"][callee.property.name="now"]': report,
          'NewExpression[callee.name="Date"]'(node: Deno.lint.NewExpression) {
            if (node.arguments.length === 0) report(node);
          },
        };
      },
    },
  },
};

export default plugin;
