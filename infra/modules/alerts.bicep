// What a person must hear of. The words are the log's, which docs/runbook.md explains; tests/infra compares them.

param location string
param tags object
param insights string
param email string

// Requests and traces are what Application Insights calls them; a rule of which the query finds a row has fired.
// `summarize` without `by` gives a row in any case, so that the first one hears silence too.
var rules = [
  {
    name: 'no-heartbeat'
    severity: 1
    window: 'PT10M'
    description: 'The timer has not beaten for ten minutes: no run is opened, moved on, or ended. docs/runbook.md.'
    query: 'requests | where name == "heartbeat" and success == true | summarize beats = count() | where beats == 0'
  }
  {
    name: 'run-failed'
    severity: 1
    window: 'PT15M'
    description: 'A run failed, or was stopped. docs/runbook.md, by its reason.'
    query: 'traces | where message matches regex "run=[^ ]+ [a-z]+->failed" or message matches regex "run=[^ ]+ stopped: "'
  }
  {
    name: 'window-missed'
    severity: 2
    window: 'PT15M'
    description: 'Windows fell due while the app did not look, and are too old to be caught up with. docs/runbook.md: score them by a backfill.'
    query: 'traces | where message matches regex "run=[^ ]+ missed: "'
  }
  {
    name: 'error'
    severity: 3
    window: 'PT15M'
    description: 'A line at ERROR, which docs/runbook.md explains.'
    query: 'union traces, exceptions | where severityLevel >= 3'
  }
]

resource contacts 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'on-duty'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'fleetscore'
    enabled: true
    emailReceivers: [{ name: 'on-duty', emailAddress: email, useCommonAlertSchema: true }]
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'fleetscore-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'fleetscore: ${rule.name}'
      description: rule.description
      severity: rule.severity
      enabled: true
      scopes: [insights]
      evaluationFrequency: 'PT5M'
      windowSize: rule.window
      autoMitigate: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: empty(email) ? [] : [contacts.id] }
    }
  }
]

output contacts string = empty(email) ? '' : contacts!.id
